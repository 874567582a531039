# Copyright: Contributors to airstack.backbone
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)

"""The lab as it shall be against machines as they may be."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.airstack.backbone.plugins.module_utils._lab.description import Host, Lab, Port
from ansible_collections.airstack.backbone.plugins.module_utils._lab.difference import compare
from ansible_collections.airstack.backbone.plugins.module_utils._lab.images import RELEASES, image
from ansible_collections.airstack.backbone.plugins.module_utils._lab.labels import LABEL_DESCRIPTION, LABEL_IMAGE
from ansible_collections.airstack.backbone.plugins.module_utils._lab.leftovers import leftovers
from ansible_collections.airstack.backbone.plugins.module_utils._lab.machine import (
    Container,
    Image,
    Machine,
    Network,
    routes,
)
from ansible_collections.airstack.backbone.plugins.module_utils._lab.settings import containers_conf

IMAGE_LABELS = {LABEL_IMAGE: "true"}
IMAGES = {"bookworm": "localhost/airstack-lab:bookworm-1", "trixie": "localhost/airstack-lab:trixie-1"}
CONTROL = Host("control1", "10.89.57.13", publish=["127.0.0.1:8080:8080"], volumes=["dags:/srv/dags"])
WORKER = Host("worker1", "10.89.57.14", release="trixie", volumes=["dags:/srv/dags:ro", "/tmp/x:/x"])
STORED = [Image(f"id of {name}", name, IMAGE_LABELS) for name in IMAGES.values()]
LAB = Lab("local", "/repository/.lab", "10.89.57.0/24", [CONTROL, WORKER], IMAGES)
GIB = 1024**3


def container(host: Host, lab: Lab = LAB, **changes: Any) -> Container:
    made = Container(
        name=lab.container(host.name),
        state="running",
        image=lab.images[host.release],
        image_identity=f"id of {lab.images[host.release]}",
        labels={**lab.labels(), LABEL_DESCRIPTION: json.dumps(host.description())},
        ports=[(port.address, port.port) for port in host.ports()],
    )
    return replace(made, **changes)


NETWORK = Network("local", ["10.89.57.0/24"], "podman1", LAB.labels())
WHOLE = Machine(
    containers=[container(CONTROL), container(WORKER)],
    networks=[NETWORK],
    volumes={"local-dags": LAB.labels()},
    images=STORED,
    routes=[("10.89.57.0/24", "podman1"), ("192.168.0.0/16", "eth0")],
)
BARE = Machine(keys=False, settings=False)


def test_a_lab_that_stands_lacks_nothing() -> None:
    difference = compare(LAB, WHOLE)
    assert difference.complete
    assert not difference.problems
    assert not difference.warnings
    assert not difference.steps(LAB)


def test_a_bare_machine_lacks_everything_in_order() -> None:
    difference = compare(LAB, BARE)
    assert not difference.problems
    assert not difference.complete
    assert difference.steps(LAB) == [
        "write keys and settings to /repository/.lab",
        "build image localhost/airstack-lab:bookworm-1",
        "build image localhost/airstack-lab:trixie-1",
        "make network local (10.89.57.0/24)",
        "make volume local-dags",
        "make container local-control1",
        "make container local-worker1",
    ]


@pytest.mark.parametrize("state", ["exited", "created", "stopped"])
def test_what_is_stopped_is_started_and_not_made_anew(state: str) -> None:
    machine = replace(WHOLE, containers=[container(CONTROL, state=state), container(WORKER)])
    difference = compare(LAB, machine)
    assert difference.steps(LAB) == ["start container local-control1"]
    assert not difference.problems


def test_only_missing_images_are_built() -> None:
    machine = replace(WHOLE, containers=[container(CONTROL)], images=STORED[:1])
    assert compare(LAB, machine).build == ["trixie"]
    assert compare(LAB, replace(machine, images=STORED)).build == []


@pytest.mark.parametrize(
    ("change", "text"),
    [
        (
            {"publish": ["127.0.0.1:8081:8080"]},
            "publish was ['127.0.0.1:8080:8080'] and is ['127.0.0.1:8081:8080']",
        ),
        ({"release": "trixie"}, "release was bookworm and is trixie"),
        ({"volumes": []}, "volumes was ['dags:/srv/dags'] and is []"),
        ({"address": "10.89.57.99"}, "address was 10.89.57.13 and is 10.89.57.99"),
        ({"runs_containers": True}, "runs_containers was False and is True"),
    ],
)
def test_a_changed_description_is_refused_or_made_anew_when_asked(change: dict[str, Any], text: str) -> None:
    lab = replace(LAB, hosts=[replace(CONTROL, **change), WORKER])
    (problem,) = compare(lab, WHOLE).problems
    assert "local-control1" in problem
    assert text in problem
    assert "airflow_hosts_lab_recreate" in problem

    difference = compare(replace(lab, recreate=True), WHOLE)
    assert not difference.problems
    assert difference.stale == ["local-control1"]
    assert difference.create == ["control1"]
    assert not difference.network


def test_what_could_not_be_asked_for_when_a_container_was_made_is_no_change() -> None:
    older = {key: value for key, value in CONTROL.description().items() if key != "runs_containers"}
    before = container(CONTROL, labels={**LAB.labels(), LABEL_DESCRIPTION: json.dumps(older)})
    machine = replace(WHOLE, containers=[before, container(WORKER)])
    assert compare(LAB, machine).complete
    lab = replace(LAB, hosts=[replace(CONTROL, runs_containers=True), WORKER], recreate=True)
    assert compare(lab, machine).stale == ["local-control1"]


def test_a_host_that_runs_containers_keeps_them_in_a_volume_that_goes_with_it() -> None:
    host = replace(CONTROL, runs_containers=True)
    assert LAB.mounts(host) == ["local-dags:/srv/dags", "/var/lib/docker"]
    assert replace(LAB, hosts=[host]).volumes() == ["local-dags"]


def test_another_subnet_makes_the_network_and_all_hosts_anew() -> None:
    hosts = [replace(host, address=host.address.replace(".57.", ".58.")) for host in LAB.hosts]
    lab = replace(LAB, subnet="10.89.58.0/24", hosts=hosts)
    assert len(compare(lab, WHOLE).problems) == len(hosts)
    difference = compare(replace(lab, recreate=True), WHOLE)
    assert not difference.problems
    assert difference.stale == ["local-control1", "local-worker1"]
    assert difference.stale_network
    assert difference.network


def test_hosts_whose_keys_are_gone_cannot_be_reached_and_do_not_stay() -> None:
    machine = replace(WHOLE, keys=False)
    problems = compare(LAB, machine).problems
    assert len(problems) == 2
    assert all("SSH keys" in problem and "/repository/.lab" in problem for problem in problems)
    difference = compare(replace(LAB, recreate=True), machine)
    assert difference.prepare
    assert difference.stale == ["local-control1", "local-worker1"]


def test_settings_that_changed_are_written_and_no_more() -> None:
    difference = compare(LAB, replace(WHOLE, settings=False))
    assert difference.steps(LAB) == ["write keys and settings to /repository/.lab"]


def test_a_container_of_an_older_image_stays_with_a_warning() -> None:
    machine = replace(
        WHOLE, containers=[container(CONTROL, image="localhost/airstack-lab:bookworm-0"), container(WORKER)]
    )
    difference = compare(LAB, machine)
    assert difference.complete
    (warning,) = difference.warnings
    assert "local-control1" in warning
    assert "bookworm-0" in warning


def test_a_host_that_left_the_inventory_is_named() -> None:
    difference = compare(replace(LAB, hosts=[CONTROL]), WHOLE)
    assert difference.complete
    assert difference.warnings == [
        "container local-worker1 is of this lab and no longer in the inventory; `make down` removes it"
    ]


@pytest.mark.parametrize(
    ("lab", "machine", "fragments"),
    [
        ({"name": "No Name"}, {}, ["airflow_hosts_lab_name is 'No Name'"]),
        ({"hosts": []}, {}, ["airflow_lab is empty"]),
        ({"subnet": "10.89.57.0/33"}, {}, ["airflow_hosts_lab_subnet is '10.89.57.0/33'"]),
        ({"subnet": "255.255.255.255/32"}, {}, ["lab_subnet is '255.255.255.255/32'", "with a prefix of 29 at most"]),
        ({"subnet": "10.89.57.8/30"}, {}, ["lab_subnet is '10.89.57.8/30'", "with a prefix of 29 at most"]),
        ({"hosts": [replace(CONTROL, address="")]}, {}, ["ansible_host of control1 is not set"]),
        ({"hosts": [replace(CONTROL, address="control1")]}, {}, ["ansible_host of control1 is 'control1'"]),
        (
            {"hosts": [replace(CONTROL, address="10.89.57.1")]},
            {},
            ["ansible_host of control1 is 10.89.57.1", "gateway"],
        ),
        ({"hosts": [replace(CONTROL, address="10.9.9.9")]}, {}, ["address in 10.89.57.0/24"]),
        ({"hosts": [CONTROL, replace(WORKER, address=CONTROL.address)]}, {}, ["so is that of control1"]),
        ({"hosts": [replace(CONTROL, release="sid")]}, {}, ["airflow_hosts_lab_release of control1 is 'sid'"]),
        ({"hosts": [replace(CONTROL, publish=["8080"])]}, {}, ["airflow_hosts_lab_publish of control1 has '8080'"]),
        ({"hosts": [replace(CONTROL, volumes=["dags"])]}, {}, ["airflow_hosts_lab_volumes of control1 has 'dags'"]),
        (
            {"hosts": [CONTROL, replace(WORKER, publish=CONTROL.publish)]},
            {},
            ["airflow_hosts_lab_publish of worker1 has port 8080", "so has that of control1"],
        ),
        ({}, {"root": False}, ["not root"]),
        ({}, {"missing": ["podman", "mmdebstrap"]}, ["podman, mmdebstrap", "apt-get install", "make up"]),
        (
            {},
            {"taken": {("127.0.0.1", 8080): "nginx (process 8)"}},
            ["port 8080 on 127.0.0.1 is taken by nginx (process 8)", "airflow_hosts_lab_publish of control1"],
        ),
        (
            {},
            {"containers": [Container("other", "running", "x", ports=[("127.0.0.1", 8080)])]},
            ["port 8080 on 127.0.0.1 is taken by container other"],
        ),
        (
            {},
            {"containers": [Container("local-control1", "exited", "x")]},
            ["a container named local-control1 stands on this machine, and this lab did not make it"],
        ),
        (
            {},
            {"networks": [Network("other", ["10.89.0.0/16"])]},
            ["10.89.57.0/24 meets 10.89.0.0/16 of podman's network other"],
        ),
        ({}, {"routes": [("10.0.0.0/8", "wg0")]}, ["meets 10.0.0.0/8 of a route over wg0"]),
        ({"memory": 3 * GIB}, {"memory": 5 * GIB}, ["5.0 GiB of memory", "2 hosts need 6.0 GiB", "lab_memory_mb"]),
        ({}, {"inotify": (119, 128)}, ["119 of 128 inotify instances", "2 hosts needs 10", "max_user_instances=258"]),
        ({"disk": 3 * GIB}, {"disk": 5 * GIB}, ["5.0 GiB of disk", "2 hosts need 6.0 GiB", "lab_disk_mb"]),
    ],
)
def test_what_cannot_work_is_one_problem_that_says_what_to_do(
    lab: dict[str, Any], machine: dict[str, Any], fragments: list[str]
) -> None:
    (problem,) = compare(replace(LAB, **lab), replace(BARE, **machine)).problems
    for fragment in fragments:
        assert fragment in problem


def test_all_problems_come_at_once() -> None:
    machine = replace(BARE, root=False, missing=["podman"], routes=[("10.0.0.0/8", "wg0")], memory=0)
    assert len(compare(replace(LAB, name="!", memory=1), machine).problems) == 5


def test_a_lab_of_the_same_name_elsewhere_is_left_alone() -> None:
    elsewhere = replace(LAB, directory="/elsewhere/.lab")
    without_ports = replace(elsewhere, hosts=[replace(CONTROL, publish=[]), WORKER])
    for machine in (WHOLE, replace(BARE, networks=[NETWORK]), replace(BARE, volumes=WHOLE.volumes)):
        (problem,) = compare(without_ports, machine).problems
        assert "another lab named local" in problem
        assert "airflow_hosts_lab_directory=/repository/.lab" in problem
    assert leftovers(elsewhere, WHOLE) == {"containers": [], "networks": [], "volumes": [], "images": []}


def test_ports_and_routes_of_the_lab_itself_are_no_problem() -> None:
    machine = replace(WHOLE, containers=[container(CONTROL)])
    assert not compare(LAB, machine).problems


def test_room_is_asked_for_only_for_what_is_not_there() -> None:
    lab = replace(LAB, memory=GIB, disk=GIB)
    starting = replace(WHOLE, containers=[container(CONTROL, state="exited"), container(WORKER)], memory=GIB, disk=0)
    assert not compare(lab, starting).problems
    assert len(compare(lab, replace(starting, memory=GIB - 1)).problems) == 1


def test_leftovers_are_this_labs_and_images_that_no_other_uses() -> None:
    other = replace(LAB, name="molecule", directory="/repository/molecule/.lab")
    machine = replace(
        WHOLE,
        containers=[*WHOLE.containers, container(CONTROL, other), Container("web", "running", "nginx")],
        networks=[NETWORK, Network("podman", ["10.88.0.0/16"])],
        volumes={"local-dags": LAB.labels(), "molecule-dags": other.labels(), "mine": {}},
        images=[
            *STORED,
            Image("0123456789abcdef", "", IMAGE_LABELS),
            Image("fedc", "nginx"),
            Image("ba", ""),
        ],
    )
    assert leftovers(LAB, machine) == {
        "containers": ["local-control1", "local-worker1"],
        "networks": ["local"],
        "volumes": ["local-dags"],
        "images": [IMAGES["trixie"], "0123456789ab"],
    }


@pytest.mark.parametrize(
    ("text", "port"),
    [
        ("127.0.0.1:8080:80", ("127.0.0.1", 8080, 80)),
        ("8080:80", ("0.0.0.0", 8080, 80)),
    ],
)
def test_ports_are_read(text: str, port: tuple[str, int, int]) -> None:
    assert Port.parse(text) == Port(*port)


@pytest.mark.parametrize("text", ["", "80", "a:b", "1:2:3:4", "localhost:1:2", "0:80", "80:65536", "127.0.0.1:80:-1"])
def test_what_is_no_port_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        Port.parse(text)


def test_routes_are_read_without_the_default_one() -> None:
    table = """Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT
eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0
podman1\t005A590A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0
wg0\t0000000A\t00000000\t0001\t0\t0\t0\t000000FF\t0\t0\t0
"""
    assert routes(table) == [("10.89.90.0/24", "podman1"), ("10.0.0.0/8", "wg0")]


def test_an_image_is_named_by_its_recipe() -> None:
    name = image("bookworm", b"recipe", b"certificates")
    assert name.startswith("localhost/airstack-lab:bookworm-")
    assert name == image("bookworm", b"recipe", b"certificates")
    others = [
        image("trixie", b"recipe", b"certificates"),
        image("bookworm", b"recipe2", b"certificates"),
        image("bookworm", b"recipe", b"certificates", b"mirror"),
        image("bookworm", b"recipecertificates"),
    ]
    assert name not in others


def test_settings_fit_the_machine() -> None:
    modern = containers_conf(unified_cgroups=True, may_raise_limits=True, systemd=True)
    assert "[engine]\n\n" in modern
    assert "ulimits" not in modern
    old = containers_conf(unified_cgroups=False, may_raise_limits=False, systemd=False)
    assert 'runtime = "runc"' in old
    assert 'cgroup_manager = "cgroupfs"' in old
    assert 'default_ulimits = ["nofile=8192:8192", "nproc=8192:8192"]' in old
    assert "/etc" not in old


def test_a_volume_without_a_slash_is_the_labs_own() -> None:
    assert LAB.mounts(WORKER) == ["local-dags:/srv/dags:ro", "/tmp/x:/x"]
    assert LAB.volumes() == ["local-dags"]


def test_the_smallest_subnet_is_enough_for_a_few_hosts() -> None:
    hosts = [replace(CONTROL, address="10.89.58.2"), replace(WORKER, address="10.89.58.6")]
    assert not compare(replace(LAB, subnet="10.89.58.0/29", hosts=hosts), BARE).problems


HOSTS = st.builds(
    Host,
    name=st.sampled_from(["a", "b"]),
    address=st.one_of(st.text(), st.sampled_from(["10.89.57.11", "10.89.57.0"])),
    release=st.one_of(st.text(), st.sampled_from(RELEASES)),
    publish=st.lists(st.one_of(st.text(), st.from_regex(r"[0-9.:]*")), max_size=3),
    volumes=st.lists(st.text(), max_size=3),
)


@given(name=st.text(), subnet=st.text(), hosts=st.lists(HOSTS, max_size=4))
def test_a_broken_description_ends_in_problems_not_in_a_traceback(name: str, subnet: str, hosts: list[Host]) -> None:
    lab = replace(LAB, name=name, subnet=subnet, hosts=hosts)
    for machine in (BARE, WHOLE):
        difference = compare(lab, machine)
        assert any("airflow_hosts_lab_subnet" in problem for problem in difference.problems)
        assert difference.steps(lab)
