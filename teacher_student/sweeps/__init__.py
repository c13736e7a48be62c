"""Sweeps: many problems that differ in some fields, run on all cores or a cluster, into one labelled dataset."""
