"""The thin plug inside Orthanc: standard library and `orthanc` alone.

plugin.py       what Orthanc loads; the only file that imports `orthanc`
settings.py     Orthanc's JSON section "M3Bind"
events.py       what happened in the archive, and what of it is still to be told (pure)
announcer.py    the background thread that tells the node
host.py         what the announcer needs of Orthanc, by its REST interface
node_client.py  the node's HTTP interface
find_door.py    C-FIND, as Orthanc hands it over
find_query.py   what a query asks (pure)
find_ordinary.py  ordinary queries, answered as Orthanc does it
find_semantic.py  questions in words, answered by the node
find_archive.py what C-FIND and the routes need of Orthanc
routes.py       /m3bind/...
button.js       the same in Orthanc Explorer
"""
