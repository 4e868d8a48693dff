"""``python -m kdlab.cli.main``."""

from kdlab.cli.main import main

if __name__ == "__main__":
    main()
