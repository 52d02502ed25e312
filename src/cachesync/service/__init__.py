"""The service, which keeps the index equal to the pages while it runs."""
