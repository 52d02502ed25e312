"""The saved objects for Kibana: their content, their format, and their installation."""
