# SPDX-License-Identifier: Apache-2.0
"""Makes BuildStream 1.6.8 stage through strata, without changing one of its files.

launcher    what strata-bst does: checks, patches, then bst's own main
patches     how a method of BuildStream is replaced, and when that is refused
namespace   where a job may mount
places      the store, strata-bwrap, and what is kept between runs
session     one sandbox root: its layers, its mount, what is written in it
staging     Element.stage_dependency_artifacts
overlaps    which files elements overwrite of each other, told as BuildStream tells it
integration Element.integrate, once for each list of layers
output      what commands write, recorded and repeated
filtered    the files that split domains pick
artifacts   what a job commits is made ready for staging
links       hardlinks out of an overlay: of the files that it shows
shell       bst shell, also in what is left of a failed build
"""
