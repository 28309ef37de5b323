"""`catwalk report`: a night as one HTML page, to look its films through and decide which are made again."""
