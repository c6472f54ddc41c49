"""The common reference operator: which connections are behind which congestion point, and who represents them."""
