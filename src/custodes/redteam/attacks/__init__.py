"""One file an attack; `custodes.redteam.attack.ATTACKS` names them."""
