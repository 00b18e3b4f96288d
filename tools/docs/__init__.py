"""The documentation: pages written from the code's own tables, checked links, executed code blocks, and the site."""
