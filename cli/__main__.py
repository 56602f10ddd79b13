"""`python -m cli`, which `./voxmesh` runs."""

from cli.app import app

if __name__ == "__main__":
    app(prog_name="voxmesh")
