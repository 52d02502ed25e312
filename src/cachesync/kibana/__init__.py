"""The saved objects for Kibana: their content, Kibana's format for them, and their installation."""
