"""``python -m teacher_student.cli``."""

import sys

from teacher_student.cli import main

sys.exit(main())
