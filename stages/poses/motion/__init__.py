"""One person's motion from everyone's points: follow, judge, repair, retarget."""
