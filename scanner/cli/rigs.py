"""Which words check, import and measure a rig's profile?"""

from pathlib import Path
from typing import Annotated

import typer

from scanner.cli.shared import Json, ProfileFile, Region, count, emit, region_of, say
from scanner.errors import BadInput

app = typer.Typer(no_args_is_help=True, help="Check, import and measure a rig's profile.")


@app.command("check", epilog="Example: rackscan profile check hardware_profiles/simulated.yaml")
def profile_check(profile: ProfileFile, as_json: Json = False) -> None:
    """Every problem of a profile at once, with its line and the mend."""
    from scanner.storage.profiles import check_profile, profile_warnings

    problems = check_profile(profile)
    warnings = [] if problems else profile_warnings(profile)
    if as_json:
        emit({"ok": not problems, "problems": problems, "warnings": warnings})
    else:
        for problem in [*problems, *warnings]:
            say(str(problem))
        typer.echo("good" if not problems else count(problems))
    raise typer.Exit(BadInput.exit_code if problems else 0)


@app.command("import", epilog="Example: rackscan profile import MMConfig.cfg > rig.yaml")
def profile_import(cfg: Annotated[Path, typer.Argument(metavar="X.cfg")]) -> None:
    """A profile skeleton, on stdout, from an existing Micro-Manager configuration."""
    from scanner.storage.profile_import import import_cfg

    typer.echo(import_cfg(cfg), nl=False)


@app.command("measure", epilog="Example: rackscan profile measure rig.yaml")
def profile_measure(
    profile: ProfileFile,
    region: Region = None,
) -> None:
    """Move the rig, measure flips, rotation, µm/px, backlash and settling, and write them into the profile."""
    from scanner.acquisition.measure import measure_profile

    measure_profile(profile, region_of(region), say)
    say(f"{profile} now holds what was measured")
