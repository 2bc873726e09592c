"""One file a widget, and the parts that it alone has."""
