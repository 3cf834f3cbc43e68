"""The program that builds one image of one arch. It knows nothing of Koji."""
