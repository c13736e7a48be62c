"""The command line: `main`, and a module for each job that is more than one call."""

from teacher_student.cli.commands import main as main
