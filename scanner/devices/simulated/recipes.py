"""How big, how dark and how irregular is each kind of epithelial cell?

Public textbook knowledge (the Bethesda System for Reporting Cervical Cytology, 3rd ed.; liquid-based preparations),
as ranges. Reactive cells overlap the abnormal ones in size and in darkness of the nucleus on purpose: a threshold
must fail.
"""

from dataclasses import dataclass

from scanner.devices.simulated.truth import CellClass


@dataclass(frozen=True, slots=True)
class Recipe:
    """Ranges for one class: (mean, standard deviation) of diameters in µm and of optical densities."""

    cell_um: tuple[float, float]
    nucleus_um: tuple[float, float]
    darkness: tuple[float, float]
    chromatin: float = 0.16
    irregular: float = 0.03
    elongation: float = 1.2
    cytoplasm: float = 0.8
    pink: float = 0.15
    angular: float = 0.75
    eccentric: float = 0.12
    halo: float = 0.0
    binucleate: float = 0.0
    tail: float = 0.0
    group: tuple[int, int] = (1, 1)


RECIPES: dict[CellClass, Recipe] = {
    CellClass.SUPERFICIAL: Recipe(
        (53, 6), (5.8, 0.7), (1.15, 0.2), 0.08, pink=0.75, cytoplasm=0.75, binucleate=0.02
    ),
    CellClass.INTERMEDIATE: Recipe(
        (49, 7), (7.6, 0.8), (0.72, 0.14), 0.18, pink=0.25, cytoplasm=0.7, binucleate=0.03
    ),
    CellClass.PARABASAL: Recipe(
        (23, 4), (8.2, 1.0), (0.85, 0.15), 0.18, cytoplasm=1.15, pink=0.1, angular=0.2
    ),
    CellClass.METAPLASTIC: Recipe(
        (27, 5), (8.8, 1.1), (0.9, 0.17), 0.2, 0.04, cytoplasm=1.2, pink=0.1, angular=0.4
    ),
    CellClass.ENDOCERVICAL: Recipe(
        (17, 2.5), (7.4, 0.9), (0.85, 0.15), 0.2, elongation=1.6, angular=0.3, eccentric=0.5, group=(1, 9)
    ),
    CellClass.REACTIVE: Recipe(
        (45, 7), (10.2, 1.5), (0.92, 0.22), 0.2, 0.045, pink=0.3, halo=0.12, binucleate=0.1
    ),
    CellClass.BARE_NUCLEUS: Recipe((1, 0.1), (8.2, 1.4), (0.85, 0.2), 0.2, 0.04, cytoplasm=0.0),
    CellClass.ASC_US: Recipe(
        (45, 7), (11.4, 1.3), (1.02, 0.2), 0.24, 0.06, pink=0.3, binucleate=0.1, halo=0.15
    ),
    CellClass.LSIL: Recipe(
        (45, 7), (13.2, 1.7), (1.12, 0.22), 0.3, 0.09, pink=0.3, binucleate=0.25, halo=0.55
    ),
    CellClass.ASC_H: Recipe((20, 3.5), (9.6, 1.2), (1.1, 0.2), 0.28, 0.07, cytoplasm=1.05, angular=0.3),
    CellClass.HSIL: Recipe(
        (17.5, 3.5),
        (10.8, 1.6),
        (1.3, 0.24),
        0.36,
        0.11,
        cytoplasm=1.0,
        angular=0.3,
        eccentric=0.2,
        group=(1, 6),
    ),
    CellClass.SCC: Recipe(
        (27, 7), (12.0, 2.8), (1.5, 0.3), 0.4, 0.13, 2.2, 1.15, pink=0.5, angular=0.6, tail=0.6, group=(1, 3)
    ),
    CellClass.AGC: Recipe(
        (16, 2.5), (10.2, 1.4), (1.15, 0.2), 0.3, 0.06, 1.5, angular=0.3, eccentric=0.45, group=(4, 18)
    ),
}
