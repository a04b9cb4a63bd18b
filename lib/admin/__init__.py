"""What administrators and the operator may ask for: one module for each screen, `door` in front of all."""
