"""What a user points predict at: files, folders and archives of any kind, to the series that can be scored."""
