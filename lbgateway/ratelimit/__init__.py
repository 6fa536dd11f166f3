"""Limits as a whole gateway keeps them: which are in force, what of them outlives a reload, and where they are counted.

The policy that asks and the arithmetic are in `lbgateway.policies`; what waits for a store is here.
"""
