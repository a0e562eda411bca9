"""Pages of figures and tables: one HTML file without a network, the same in Markdown, and still charts."""
