"""The thin plug inside Orthanc: standard library and `orthanc` alone.

plugin.py       what Orthanc loads; the only file that imports `orthanc`
settings.py     Orthanc's JSON section "M3Bind"
events.py       what happened in the archive, and what of it is still to be told (pure)
announcer.py    the background thread that tells the node
host.py         what the announcer needs of Orthanc, by its REST interface
node_client.py  what it needs of the node, by HTTP
"""
