"""Running encoders, behind one small Protocol."""
