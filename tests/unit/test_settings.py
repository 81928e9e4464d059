from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from pulser.app import settings
from pulser.core.errors import OperatorError
from pulser.core.settings import Settings


def refused(environ: dict[str, str], folder: Path | None = None) -> list[str]:
    with pytest.raises(OperatorError) as caught:
        settings.load(environ, folder=folder)
    problems: list[str] = caught.value.fields["problems"]
    assert all(problem in str(caught.value) for problem in problems)
    return problems


def test_with_nothing_set_everything_has_its_default():
    loaded = settings.load({})
    assert loaded.settings == Settings()
    assert set(loaded.sources.values()) == {"default"}


def test_every_setting_has_one_name_of_its_own_and_a_sentence():
    every = settings.catalogue()
    names = [name for each in every for name in (each.env, *each.also)]
    assert len(names) == len(set(names))
    assert not set(names) & set(settings.RESERVED)
    assert all(each.env.startswith("PULSER_") and each.meaning.endswith(".") for each in every)


def test_every_bound_and_choice_belongs_to_a_setting_that_exists():
    keys = {each.key for each in settings.catalogue()}
    assert keys >= {*settings.CHOICES, *settings.AT_LEAST, *settings.AT_MOST}


def test_a_value_of_every_kind_is_read_from_the_environment():
    loaded = settings.load(
        {
            "PULSER_PORT": "9000",
            "PULSER_WORKER_LEASE_S": "2.5",
            "PULSER_WORKER_RENEW_S": "0.5",
            "PULSER_MAINTENANCE": "Yes",
            "PULSER_DATA_DIR": "/srv/pulser",
            "PULSER_CORS_ORIGINS": "https://a.example, https://b.example",
            "PULSER_QUEUE_RETRY_DELAYS_S": "0.1,0.2",
            "PULSER_TOOLS_ROOTS": "/data,/out:rw",
            "PULSER_TOOLS_TARGETS": '{"warehouse": "postgresql://etl@db/w"}',
        }
    ).settings
    assert loaded.server.port == 9000
    assert loaded.worker.lease_s == 2.5
    assert loaded.server.maintenance is True
    assert loaded.store.data_dir == Path("/srv/pulser")
    assert loaded.server.cors_origins == ("https://a.example", "https://b.example")
    assert loaded.queue.retry_delays_s == (0.1, 0.2)
    assert loaded.tools.roots == (Path("/data"), Path("/out:rw"))
    assert loaded.tools.targets == {"warehouse": "postgresql://etl@db/w"}


def test_the_names_of_the_documents_are_understood():
    loaded = settings.load(
        {"PULSER_API_PORT": "9001", "DATABASE_URL": "postgresql://h/d", "CELERY_WORKER_CONCURRENCY": "8", "ALLOWED_PATHS": "/a", "demoMode": "true"}
    )
    assert loaded.settings.server.port == 9001
    assert loaded.settings.store.database_url == "postgresql://h/d"
    assert loaded.settings.worker.concurrency == 8
    assert loaded.settings.tools.roots == (Path("/a"),)
    assert loaded.settings.features.demo_mode is True
    assert loaded.sources["server.port"] == "environment PULSER_API_PORT"


def test_our_own_name_wins_over_one_that_is_also_understood():
    loaded = settings.load({"PORT": "1", "PULSER_PORT": "2"})
    assert loaded.settings.server.port == 2


def test_names_of_things_that_are_not_built_yet_are_told_and_change_nothing():
    loaded = settings.load({"REDIS_URL": "redis://h", "CELERY_WORKERS": "4"})
    assert loaded.reserved == ("REDIS_URL", "CELERY_WORKERS")
    assert loaded.settings == Settings()


def test_an_unknown_name_stops_with_the_nearest_ones():
    (problem,) = refused({"PULSER_WORKER_LEASES": "3"})
    assert "PULSER_WORKER_LEASES (environment) is not a setting" in problem
    assert "did you mean PULSER_WORKER_LEASE_S" in problem


def test_names_that_tests_use_and_names_of_others_are_left_alone():
    assert settings.load({"PULSER_TEST_POSTGRES": "x", "HOME": "/", "PULSAR_URL": "y"}).settings == Settings()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PULSER_PORT", "eighty"),
        ("PULSER_PORT", "-1"),
        ("PULSER_PORT", "65536"),
        ("PULSER_PORT", "80.5"),
        ("PULSER_WORKER_LEASE_S", "NaN"),
        ("PULSER_WORKER_LEASE_S", "inf"),
        ("PULSER_WORKER_LEASE_S", "1e400"),
        ("PULSER_WORKER_LEASE_S", "-30"),
        ("PULSER_WORKER_CONCURRENCY", "0"),
        ("PULSER_QUEUE_RETRY_DELAYS_S", "5,-25"),
        ("PULSER_QUEUE_RETRY_DELAYS_S", "5;25"),
        ("PULSER_MAINTENANCE", "maybe"),
        ("PULSER_DATA_DIR", "a\0b"),
        ("PULSER_LOG_LEVEL", "loud"),
        ("PULSER_TOOLS_SANDBOX", "none"),
        ("PULSER_TOOLS_TARGETS", "warehouse=postgresql://x"),
        ("PULSER_TOOLS_TARGETS", '{"warehouse": 5}'),
    ],
)
def test_a_value_that_cannot_be_is_refused_by_its_name(name: str, value: str):
    (problem,) = refused({name: value})
    assert problem.startswith(name)


def test_all_problems_are_told_at_once():
    assert len(refused({"PULSER_PORT": "x", "PULSER_WORKER_LEASE_S": "nan", "PULSER_NOTHING": "1"})) == 3


def test_a_lease_must_outlast_its_renewal():
    (problem,) = refused({"PULSER_WORKER_LEASE_S": "5", "PULSER_WORKER_RENEW_S": "5"})
    assert "PULSER_WORKER_RENEW_S must be less" in problem


def test_a_refused_value_that_may_hold_a_password_is_not_repeated():
    (problem,) = refused({"PULSER_TOOLS_TARGETS": "postgresql://u:hunter22@h/d"})
    assert "hunter22" not in problem


def test_an_empty_value_means_not_set():
    loaded = settings.load({"PULSER_PORT": "", "PORT": "9002"})
    assert loaded.settings.server.port == 9002
    assert loaded.sources["server.port"] == "environment PORT"


def test_the_env_file_is_read_below_the_environment(tmp_path: Path):
    (tmp_path / ".env").write_text("# ours\nexport PULSER_PORT=7000 # ours too\nPULSER_LOG_LEVEL='debug'\nPULSER_URL=\"http://h/#x\"\nOTHER=1\n")
    loaded = settings.load({"PULSER_PORT": "7001"}, folder=tmp_path)
    assert loaded.settings.server.port == 7001
    assert loaded.settings.observe.log_level == "debug"
    assert loaded.settings.server.url == "http://h/#x"
    assert loaded.sources["observe.log_level"] == "file .env PULSER_LOG_LEVEL"


def test_a_mistake_in_the_env_file_is_told_with_its_line(tmp_path: Path):
    (tmp_path / ".env").write_text("PULSER_PORT=7000\nnot a setting\nPULSER_PRT=1\n")
    problems = refused({}, folder=tmp_path)
    assert ".env line 2 is not NAME=value" in problems
    assert any("PULSER_PRT (file .env) is not a setting; did you mean PULSER_PORT" in problem for problem in problems)


def test_a_named_env_file_that_is_not_there_is_a_problem(tmp_path: Path):
    (problem,) = refused({"PULSER_ENV_FILE": str(tmp_path / "gone")})
    assert "cannot be read" in problem


def test_the_environment_of_the_process_and_its_folder_are_read_when_none_is_given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / ".env").write_text("PULSER_LOG_FORMAT=json\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PULSER_PORT", "7100")
    loaded = settings.load()
    assert (loaded.settings.server.port, loaded.settings.observe.log_format) == (7100, "json")


def test_the_command_line_wins_and_is_checked_as_well():
    loaded = settings.load({"PULSER_PORT": "1"}, {"server.port": 2, "server.host": None, "worker.lease_s": 60})
    assert (loaded.settings.server.port, loaded.settings.server.host, loaded.settings.worker.lease_s) == (2, "127.0.0.1", 60.0)
    assert loaded.sources["server.port"] == "command line server.port"
    for override in ({"server.port": -5}, {"server.port": True}, {"server.port": 1.5}, {"worker.lease_s": float("nan")}, {"server.prt": 1}):
        with pytest.raises(OperatorError):
            settings.load({}, override)


def test_the_description_tells_value_source_and_meaning_and_no_secret():
    environ = {
        "PULSER_API_KEY": "a-very-secret-key",
        "PULSER_DATABASE_URL": "postgresql://pulser:hunter22@db:5432/p",
        "PULSER_TOOLS_TARGETS": '{"w": "postgresql://e:hunter23@h/w"}',
    }
    rows = {row.name: row for row in settings.describe(settings.load(environ))}
    defaults = Settings()
    assert len(rows) == sum(len(dataclasses.fields(getattr(defaults, section.name))) for section in dataclasses.fields(Settings))
    told = str(rows)
    assert not any(secret in told for secret in ("a-very-secret-key", "hunter22", "hunter23"))
    assert "@db:5432/p" in rows["PULSER_DATABASE_URL"].value
    assert rows["PULSER_API_KEY"].source == "environment PULSER_API_KEY"
    assert (rows["PULSER_PORT"].value, rows["PULSER_PORT"].default, rows["PULSER_PORT"].source) == ("8000", "8000", "default")
