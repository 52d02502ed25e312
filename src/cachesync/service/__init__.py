"""The service: keeps the index equal to the pages for as long as it runs."""
