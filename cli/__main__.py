"""`python -m poisonsets.cli`."""

from poisonsets.cli.main import main

if __name__ == "__main__":
    main()
