"""Speed benchmarks: two ways to the same result, interleaved in one run on the same cores."""
