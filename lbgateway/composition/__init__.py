"""What is in force: the file, a key of the registry's store and the tags of services, put together.

`words` and `declaration` read what services say, `claims` judges what they ask for, `compose` puts all of it over the
file, and `composer` does so again whenever one of them changes. Only `composer` knows of time.
"""
