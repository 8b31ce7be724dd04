"""Networks to decompose: trained here and cached, coded by hand, or anyone's."""
