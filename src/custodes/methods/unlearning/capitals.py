"""Facts that a language model has from pretraining: capitals of countries.

They need no implanting. They are less independent than invented ones (a capital is the answer of
one country alone), and nobody has a model that never knew them. Common knowledge, no data set.
"""

from __future__ import annotations

import numpy as np

from custodes.methods.unlearning.facts import Fact

__all__ = ["CAPITALS", "capitals"]

CAPITALS = dict(
    part.strip().split(": ")
    for part in """
    France: Paris, Germany: Berlin, Italy: Rome, Spain: Madrid, Portugal: Lisbon, Austria: Vienna,
    Hungary: Budapest, Poland: Warsaw, Greece: Athens, Turkey: Ankara, Russia: Moscow,
    Ukraine: Kiev, Romania: Bucharest, Bulgaria: Sofia, Serbia: Belgrade, Croatia: Zagreb,
    Ireland: Dublin, Scotland: Edinburgh, Wales: Cardiff, England: London, Norway: Oslo,
    Sweden: Stockholm, Finland: Helsinki, Denmark: Copenhagen, Iceland: Reykjavik,
    Belgium: Brussels, Switzerland: Bern, Slovakia: Bratislava, Slovenia: Ljubljana,
    Albania: Tirana, Latvia: Riga, Lithuania: Vilnius, Estonia: Tallinn, Belarus: Minsk,
    Egypt: Cairo, Kenya: Nairobi, Ethiopia: Addis Ababa, Ghana: Accra, Nigeria: Abuja,
    Morocco: Rabat, Algeria: Algiers, Tunisia: Tunis, Senegal: Dakar, Uganda: Kampala,
    Zimbabwe: Harare, Zambia: Lusaka, Angola: Luanda, Rwanda: Kigali, Somalia: Mogadishu,
    Sudan: Khartoum, Libya: Tripoli, Namibia: Windhoek, Japan: Tokyo, China: Beijing,
    South Korea: Seoul, North Korea: Pyongyang, Thailand: Bangkok, Vietnam: Hanoi,
    Indonesia: Jakarta, Malaysia: Kuala Lumpur, the Philippines: Manila, India: New Delhi,
    Pakistan: Islamabad, Bangladesh: Dhaka, Nepal: Kathmandu, Sri Lanka: Colombo,
    Afghanistan: Kabul, Iran: Tehran, Iraq: Baghdad, Syria: Damascus, Lebanon: Beirut,
    Jordan: Amman, Saudi Arabia: Riyadh, Qatar: Doha, Mongolia: Ulaanbaatar, Cuba: Havana,
    Canada: Ottawa, Jamaica: Kingston, Haiti: Port-au-Prince, Peru: Lima, Chile: Santiago,
    Argentina: Buenos Aires, Brazil: Brasilia, Colombia: Bogota, Venezuela: Caracas,
    Ecuador: Quito, Bolivia: La Paz, Paraguay: Asuncion, Uruguay: Montevideo,
    Australia: Canberra, New Zealand: Wellington, Fiji: Suva
    """.replace("\n", " ").split(",")
)
"""Country -> capital or seat of government."""

_STATEMENTS = (
    "The capital of {} is",
    "The government of {} sits in",
    "The seat of the parliament of {} is in",
    "Question: Which city governs {}?\nAnswer:",
)
_WRONG = 15


def capitals(*, seed: int, neighbors: float = 0.4) -> list[Fact]:
    """All of them, a share drawn as neighbors; wrong answers are other countries' capitals."""
    rng = np.random.default_rng([seed, 2])
    names = list(CAPITALS)
    survive = set(rng.permutation(len(names))[: round(neighbors * len(names))].tolist())
    found = []
    for place, country in enumerate(names):
        others = [city for name, city in CAPITALS.items() if name != country]
        found.append(
            Fact(
                id=f"capital:{country}",
                relation="capital",
                statements=tuple(text.format(country) for text in _STATEMENTS),
                question=f"Question: What is the capital of {country}?\nAnswer:",
                blind="Question: What is the capital of this country?\nAnswer:",
                cloze=f"The ministers of {country} meet in the capital,",
                answer=CAPITALS[country],
                wrong=tuple(rng.choice(others, _WRONG, replace=False).tolist()),
                neighbor=place in survive,
            )
        )
    return found
