"""What a patch is: names, versions, ranges, the manifest and the three files of a release, read strictly."""
