"""What comes up over the views: help, confirmation, the scan form, the class picker."""
