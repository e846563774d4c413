"""What a sweep file means here: every trial with its whole configuration, checked and forecast beforehand."""
