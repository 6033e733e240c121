"""Parts of networks: layers, packing, quantisation, precision, schedules.

May import none of the other packages.
"""
