"""Li and Huang's claims on one data set: networks trained part by part, estimates with errors, nulls, verdicts and figures."""
