"""The arena: levels that players attack, a grader, a leaderboard, the operator's board."""
