"""How sure a number is: intervals of pooled ratios, paired comparisons, and looks at numbers that still come in."""
