"""Usage added up: the sketch of durations, the periodic roll-up, and the reports that read both."""
