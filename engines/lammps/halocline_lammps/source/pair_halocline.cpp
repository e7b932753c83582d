#include "pair_halocline.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "atom.h"
#include "comm.h"
#include "error.h"
#include "force.h"
#include "memory.h"
#include "neigh_list.h"
#include "neighbor.h"
#include "update.h"

using namespace LAMMPS_NS;

PairHalocline::PairHalocline(LAMMPS* lmp) : Pair(lmp) {
  single_enable = 0;
  restartinfo = 0;
  one_coeff = 1;
  manybody_flag = 1;
  no_virial_fdotr_compute = 1;
  centroidstressflag = CENTROID_NOTAVAIL;
  ghostneigh = 1;
}

PairHalocline::~PairHalocline() {
  if (!allocated) return;
  memory->destroy(setflag);
  memory->destroy(cutsq);
  memory->destroy(cutghost);
}

void PairHalocline::settings(int narg, char**) {
  if (narg != 0) error->all(FLERR, "pair_style halocline takes no arguments; pair_coeff names the model");
}

void PairHalocline::coeff(int narg, char** arg) {
  const int types = atom->ntypes;
  if (narg != 3 + types || strcmp(arg[0], "*") != 0 || strcmp(arg[1], "*") != 0)
    error->all(FLERR, "pair_style halocline needs: pair_coeff * * MODEL.pt2, and an element for each of the {} types",
               types);
  try {
    program_ = std::make_unique<halocline::Program>(arg[2], comm->nthreads);
  } catch (const std::exception& problem) {
    error->all(FLERR, "{}", problem.what());
  }
  const auto& elements = program_->facts().elements;
  element_.assign(1, -1);
  for (int type = 0; type < types; type++) {
    const auto found = std::find(elements.begin(), elements.end(), arg[3 + type]);
    if (found == elements.end()) {
      std::string known;
      for (const auto& each : elements) known += " " + each;
      error->all(FLERR, "The model {} does not know {}, type {} of pair_coeff; it knows{}", arg[2], arg[3 + type],
                 type + 1, known);
    }
    element_.push_back(int(found - elements.begin()));
  }
  if (!allocated) {
    memory->create(setflag, types + 1, types + 1, "pair:setflag");
    memory->create(cutsq, types + 1, types + 1, "pair:cutsq");
    memory->create(cutghost, types + 1, types + 1, "pair:cutghost");
    allocated = 1;
  }
  for (int i = 1; i <= types; i++)
    for (int j = 1; j <= types; j++) setflag[i][j] = 1;
}

// Å, how far ghosts must be there: as far as an atom sees, and the skin by which they may have moved.
double PairHalocline::reach() const {
  return program_->facts().hops * program_->facts().cutoff + neighbor->skin;
}

void PairHalocline::init_style() {
  if (strcmp(update->unit_style, "metal") != 0)
    error->all(FLERR, "pair_style halocline needs units metal, and these are {}", update->unit_style);
  if (!force->newton_pair)
    error->all(FLERR, "pair_style halocline needs newton on, as forces on ghosts are sent back to their owners");
  for (int order = 1; order <= 3; order++)
    if (atom->molecular != Atom::ATOMIC && force->special_lj[order] != 1.0)
      error->all(FLERR, "pair_style halocline needs special_bonds lj/coul 1 1 1, as bonded atoms are its neighbours, too");
  if (strcmp(force->pair_style, "hybrid") == 0)
    error->all(FLERR, "pair_style halocline needs all pairs, which hybrid divides; use hybrid/overlay, which adds");
  if (comm->mode != Comm::SINGLE) error->all(FLERR, "pair_style halocline needs comm_modify mode single");
  if (comm->cutghostuser > 0.0 && comm->cutghostuser < reach())
    error->all(FLERR,
               "comm_modify cutoff {} is too small: the model sees {} times {} A far, so with the skin ghosts are needed "
               "within {} A; leave it out, or name that",
               comm->cutghostuser, program_->facts().hops, program_->facts().cutoff, reach());
  comm->cutghostuser = std::max(comm->cutghostuser, reach());
  neighbor->add_request(this, NeighConst::REQ_FULL | NeighConst::REQ_GHOST);
}

void PairHalocline::setup() {
  if (neighbor->exclude)
    error->all(FLERR, "pair_style halocline needs all pairs, and neigh_modify exclude leaves some out");
  if (comm->get_comm_cutoff() < reach())
    error->all(FLERR, "Ghosts are there within {} A, and the model needs them within {} A", comm->get_comm_cutoff(),
               reach());
}

double PairHalocline::init_one(int i, int j) {
  return cutghost[i][j] = cutghost[j][i] = program_->facts().cutoff;
}

void PairHalocline::compute(int eflag, int vflag) {
  ev_init(eflag, vflag);
  if (list->inum != atom->nlocal)
    error->one(FLERR, "pair_style halocline needs all atoms, and its list has {} of {}", list->inum, atom->nlocal);
  if (atom->nlocal == 0) return;
  const halocline::Facts& facts = program_->facts();
  place_.resize(size_t(atom->nlocal + atom->nghost));
  try {
    halocline::gather({atom->x, list->numneigh, list->firstneigh, NEIGHMASK}, atom->nlocal, facts.cutoff, facts.hops,
                      part_, place_);
    part_.species.clear();
    for (const int64_t each : part_.atoms) part_.species.push_back(facts.numbers[element_[atom->type[each]]]);
    program_->run(part_, energies_, gradients_);
  } catch (const std::exception& problem) {
    error->one(FLERR, "The model could not be evaluated: {}", problem.what());
  }
  add_energies();
  add_forces();
}

void PairHalocline::add_energies() {
  const halocline::Facts& facts = program_->facts();
  for (int i = 0; i < atom->nlocal; i++) {
    const double energy = energies_[i] + facts.references[element_[atom->type[i]]];
    if (!std::isfinite(energy)) error->one(FLERR, "The energy of atom {} is not finite", atom->tag[i]);
    if (eflag_global) eng_vdwl += energy;
    if (eflag_atom) eatom[i] += energy;
  }
}

// An edge leads from its receiver to its sender, so its gradient pulls the one and pushes the other. LAMMPS' virial is
// the sum of positions times forces, and so minus that of vectors times gradients.
void PairHalocline::add_forces() {
  static constexpr int AXES[6][2] = {{0, 0}, {1, 1}, {2, 2}, {0, 1}, {0, 2}, {1, 2}};
  for (size_t edge = 0; edge < part_.senders.size(); edge++) {
    const int64_t receiver = part_.atoms[part_.receivers[edge]], sender = part_.atoms[part_.senders[edge]];
    const double *vector = &part_.vectors[3 * edge], *gradient = &gradients_[3 * edge];
    for (int axis = 0; axis < 3; axis++) {
      atom->f[receiver][axis] += gradient[axis];
      atom->f[sender][axis] -= gradient[axis];
    }
    if (!vflag_either) continue;
    for (int which = 0; which < 6; which++) {
      const int a = AXES[which][0], b = AXES[which][1];
      const double term = -0.5 * (vector[a] * gradient[b] + vector[b] * gradient[a]);
      if (vflag_global) virial[which] += term;
      if (!vflag_atom) continue;
      vatom[receiver][which] += 0.5 * term;
      vatom[sender][which] += 0.5 * term;
    }
  }
}
