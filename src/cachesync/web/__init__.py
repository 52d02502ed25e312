"""What is asked over HTTP: an API and a page, over the reading side of the index alone."""
