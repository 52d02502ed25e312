"""What people look at in Kibana: what there is, how Kibana writes it, and the way it gets there."""
