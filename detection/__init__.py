"""Which cells lie in an image, and how suspicious is a slide? Knows arrays and boxes, nothing of scanners."""
