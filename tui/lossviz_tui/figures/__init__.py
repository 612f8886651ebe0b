"""Views as figures for papers, by matplotlib, which is an extra and loaded when one is made."""
