"""Tests on a real Kubernetes, and on an emulation of OpenShift's builds in it: which proves what.

Of the objects in fedora-infra:

test_admin            kubernetes/*.yaml as they are are taken; `check` finds nothing wrong. No build.
test_pod_rights       a build by the engine with these. Other: the registry's name and password, and
                      the requests of the section in builder.conf, for a small node.
test_admin_openshift  the files that the README lists for OpenShift, as they are. No build.
test_openshift_build  a build by the engine, with the Role and BuildConfigs of openshift/. Other: the
                      Secrets (of the test's own), no pull secret, and requests and limits.
test_builds, _logs,   builds by Koji. Other: the namespace, the names of registry and image, and, for
_faults, _restart,    openshift, kubernetes/*.yaml are there besides. With openshift, 70-buildconfigs
_cancel               and 60-buildroot-config are used as they are but for these names. That is what
                      devstack/cluster/site.py makes; nobody follows the README by hand here.

Of the engines: tests/engines/test_engines.py holds both to the promises, with a stand-in for the
program, on the fakes and on the real cluster. test_engine_faults and test_faults have what only a
real cluster does.
"""
