// What `plugin load` calls.
#include "error.h"
#include "lammps.h"
#include "pair_halocline.h"

using namespace LAMMPS_NS;

namespace {

// As in LAMMPS' lammpsplugin.h, which packages of LAMMPS do not install.
struct Style {
  const char *version, *style, *name, *info, *author;
  union {
    void* (*one)(void*);
    void* (*more)(void*, int, char**);
  } creator;
  void* handle;
};

void* made(void* lammps) { return new PairHalocline(static_cast<LAMMPS*>(lammps)); }

}  // namespace

extern "C" void lammpsplugin_init(void* lammps, void* handle, void* registered) {
  auto* here = static_cast<LAMMPS*>(lammps);
  if (here->num_ver != HALOCLINE_LAMMPS_VERSION)
    here->error->all(FLERR, "pair_style halocline was built for LAMMPS {}, and this is {}; build it again",
                     HALOCLINE_LAMMPS_VERSION, here->num_ver);
  Style style{here->version, "pair", "halocline", "potentials that Halocline exported", "the developers of Halocline", {}, handle};
  style.creator.one = made;
  reinterpret_cast<void (*)(Style*, void*)>(registered)(&style, lammps);
}
