"""`python -m gaelp_ray` is `gaelp-ray`."""

from gaelp_ray.cli.main import main

if __name__ == "__main__":
    main()
