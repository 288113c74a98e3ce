"""`python -m poisonsets`: the command line, which stands above everything else in this package."""

from poisonsets.cli.main import main

if __name__ == "__main__":
    main()
