"""`python -m patchpm`."""

from patchpm.cli.start import main

raise SystemExit(main())
