"""`python -m weitiao`, which is what torchrun starts."""

from weitiao.cli.main import main

if __name__ == "__main__":
    main()
