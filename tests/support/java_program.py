"""
Programs on Java's own RocketMQ client

Compiled from their sources against the jars of rocketmq_cluster.VERSION, whatever version the
brokers have, in a directory of the caller's.
"""

import subprocess

import rocketmq_cluster


class BuildError(Exception):
    """It does not compile; the text is what javac said."""


def command(sources, directory, program, *options):
    """Compiles the sources, and gives the command that runs the class `program` of them."""
    jars = f"{rocketmq_cluster.fetch(version=rocketmq_cluster.VERSION)}/*"
    directory.mkdir(parents=True, exist_ok=True)
    logging = directory / "logback.xml"
    logging.write_text(rocketmq_cluster.LOGBACK)
    try:
        result = subprocess.run(
            ["javac", "-J-XX:TieredStopAtLevel=1", "-cp", jars, "-d", directory, *sources],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
        )
    except FileNotFoundError:
        raise BuildError("javac is needed, and is not here") from None
    if result.returncode != 0:
        raise BuildError(f"javac failed:\n{result.stderr[-3000:]}")
    return [
        *("java", "-XX:-UsePerfData", f"-Drmq.logback.configurationFile={logging}", *options),
        *("-cp", f"{directory}:{jars}", program),
    ]
