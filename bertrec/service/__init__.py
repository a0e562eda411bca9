"""A run served over HTTP: lists, likeness, search, products that change while it serves, and a page to try it on."""
